"""The one composition of plan, engine, memory and log; CLI, service and Dagster are its hosts."""
