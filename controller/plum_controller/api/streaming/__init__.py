"""Commands and forwarded ports of instances, spoken as Kubernetes' clients speak them: WebSocket channels and SPDY/3.1."""
