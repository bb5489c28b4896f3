"""The files of a starter repository: two hosts, one VPC, two networks, three endpoints."""

from __future__ import annotations

README = """\
# The network of our cloud

Every file here that ends in .yaml, .yml or .json says how the network should be. Hosts follow the
branch `main`; what is committed is what counts.

| file | what it says |
|---|---|
| `cluster/hosts.yaml` | the machines |
| `shop/network.yaml` | a namespace, its VPC and its networks |
| `shop/endpoints.yaml` | what is attached to them, and where |

```sh
reconciler validate                        # before a commit
reconciler diff HEAD~1..                   # what a commit changes, and for whom
reconciler compile --host edge-1 -o text   # everything that a host should hold
reconciler explain Endpoint                # the fields of a kind
sudo reconciler lab up .                   # all of it on this machine, as network namespaces
sudo reconciler lab exec shop.web-1 -- ping -c 3 shop.db-1
sudo reconciler lab down
```
"""

HOSTS = """\
# The machines that carry the network. Two zones, so that roles are spread over both.
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {name: edge-1, labels: {zone: a}}
spec: {underlay: 172.31.1.11, interface: eth0}
---
apiVersion: reconciler/v1alpha1
kind: Host
metadata: {name: edge-2, labels: {zone: b}}
spec: {underlay: 172.31.2.11, interface: eth0}
"""

NETWORK = """\
# A tenant: its namespace, its address space, and the networks cut from it.
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: reconciler/v1alpha1
kind: VPC
metadata: {name: shop, namespace: shop}
spec: {vni: 4097, cidrs: [10.0.0.0/8, 2001:db8::/32]}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {name: web, namespace: shop}
spec: {vpc: shop, cidrs: [10.1.0.0/24, 2001:db8:1::/64]}
---
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {name: db, namespace: shop}
spec: {vpc: shop, cidrs: [10.1.1.0/24, 2001:db8:2::/64]}
"""

ENDPOINTS = """\
# Each gets an interface in a network namespace of its host, called shop.NAME.
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {network: web, host: edge-1, addresses: [10.1.0.11, 2001:db8:1::11]}
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {name: web-2, namespace: shop, labels: {app: web}}
spec: {network: web, host: edge-2, addresses: [10.1.0.12, 2001:db8:1::12]}
---
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata: {name: db-1, namespace: shop, labels: {app: db}}
spec: {network: db, host: edge-2, addresses: [10.1.1.11, 2001:db8:2::11]}
"""

FILES = {
    "README.md": README,
    "cluster/hosts.yaml": HOSTS,
    "shop/endpoints.yaml": ENDPOINTS,
    "shop/network.yaml": NETWORK,
}
