"""The orchestrator surface: `/api/v1/workflows` and its neighbours, `/health`, and the metrics of that name."""
