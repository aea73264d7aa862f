"""Workers: the gateway that gives them runs, and the protocols they speak. A front end beside the HTTP API.

protocols (plum.worker.v1, plum.task, HTTP) -> Gateway -> domain/task_dispatch.py decides -> guarded writes of TaskRuns
"""
