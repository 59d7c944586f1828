"""The product's words: frozen values, the bookmark rule, the error tree.

Nothing here performs I/O, reads a clock or logs.
"""
