"""Names of the jobs."""

LIVE_INSTRUCTION = "live_instruction"
COLLECT_EXECUTIONS = "collect_executions"
INGEST_AND_VALIDATE = "ingest_and_validate"
TRAIN_PLANNER = "train_planner"
TRAIN_EVERYTHING = "train_everything"
COMPACT_LOGS = "compact_logs"
CHECK_FRESHNESS = "check_freshness"
