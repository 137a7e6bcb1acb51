"""Exit codes of the `westward` command; documented in docs/cli.md, stable."""

OK = 0
# The job failed or was cancelled, or not all of several things went well.
FAILED = 1
# Usage, a bad job file, a request the scheduler refused as wrong or in conflict.
BAD_INPUT = 2
NOT_FOUND = 3
UNREACHABLE = 4
REFUSED = 5
SCHEDULER_ERROR = 6
# What is BAD_INPUT elsewhere: of `westward plan`, 0 to 2 are answers.
BAD_QUESTION = 7
INTERRUPTED = 130

# Of `westward plan`.
PLACES_NOW = 0
PLACES_LATER = 1
CANNOT_BE_PLACED = 2
