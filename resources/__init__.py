"""What the objects of Dagster share: the project and its runtime, tracking, files between steps."""
