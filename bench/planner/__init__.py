"""`make bench-planner`: the planner on instances of every size, beside what others would do."""
