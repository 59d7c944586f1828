"""The benchmark: runtide beside its floors and its peers. README.md says how."""
