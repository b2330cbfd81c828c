"""The coordinator: rounds, aggregation, evaluation, report."""
