"""Pages out of HTTP: client, paging, retry, budget, failures, one file per source kind."""
