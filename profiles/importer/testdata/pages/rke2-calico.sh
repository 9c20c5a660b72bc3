rke2 server --cni calico
