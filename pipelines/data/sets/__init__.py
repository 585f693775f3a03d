"""Where data sets lie: as published, or as a recipe says."""
