"""Names of the jobs."""

LIVE_INSTRUCTION = "live_instruction"
COLLECT_EXECUTIONS = "collect_executions"
INGEST_AND_VALIDATE = "ingest_and_validate"
TRAIN_PLANNER = "train_planner"
TRAIN_ROUTER = "train_router"
