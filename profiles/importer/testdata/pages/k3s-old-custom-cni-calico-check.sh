cat /etc/cni/net.d/10-calico.conflist
