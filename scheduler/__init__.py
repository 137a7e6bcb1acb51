"""The central service, its client library and its command line."""
