rke2 server --cni cilium --disable-kube-proxy
