"""`westward top`: clusters, queue and what runs, live on the whole screen."""
