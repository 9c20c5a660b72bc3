rke2 server --cni flannel
