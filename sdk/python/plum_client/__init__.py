"""The operator framework: requests, watches, informers, work queues and the reconcile loop."""
