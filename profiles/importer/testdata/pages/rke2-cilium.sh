rke2 server --cni cilium
