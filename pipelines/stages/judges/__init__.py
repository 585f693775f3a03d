"""One judge a task: from queries and masks to written predictions and scores."""
