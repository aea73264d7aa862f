"""A controller of our own: each Website gets a Deployment of web servers, and says how many of them are ready."""

import asyncio
from typing import Any

from plum_client import Controller, KindInfo, Manager, ObjectKey, Result, connect, owned_by

WEBSITE = KindInfo(kind="Website", plural="websites", group="example.com")
DEPLOYMENT = KindInfo(kind="Deployment", plural="deployments", group="plum.dev")


class WebsiteReconciler:
    def __init__(self, manager: Manager) -> None:
        self.api = manager.api
        self.websites = manager.informer(WEBSITE)

    async def reconcile(self, key: ObjectKey) -> Result:
        website = self.websites.get(key)
        if website is None:
            return Result.wait_for_change()  # its Deployment is deleted with it
        command = ["sh", "-c", "exec python3 -m http.server --bind 127.0.0.1 $PORT"]
        template = {"command": command, "workingDir": website["spec"]["folder"], "ports": [{"name": "web", "port": 0}]}
        metadata = {"name": key.name, "namespace": key.namespace, "ownerReferences": [owned_by(website)]}
        spec = {"replicas": website["spec"]["copies"], "template": template}
        wanted: dict[str, Any] = {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.kind,
            "metadata": metadata,
            "spec": spec,
        }
        deployment = await self.api.apply(wanted, kind=DEPLOYMENT, force=True)
        ready = deployment.get("status", {}).get("readyReplicas", 0)
        if website.get("status", {}).get("ready") != ready:
            await self.api.patch(WEBSITE, key, {"status": {"ready": ready}}, subresource="status")
        return Result.wait_for_change()


async def main() -> None:
    manager = Manager(connect("website-controller"))
    manager.add(Controller("website", WebsiteReconciler(manager), WEBSITE, owns=[DEPLOYMENT]))
    await manager.run()


if __name__ == "__main__":
    asyncio.run(main())
