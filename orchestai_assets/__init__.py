"""The software-defined assets: execution logs, their validation, training data, checkpoint, report."""
