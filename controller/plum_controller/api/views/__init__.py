"""Views: Kubernetes' own kinds that kubectl insists on, made of Plum's objects at every read and stored nowhere."""
