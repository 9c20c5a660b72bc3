cat /etc/cni/net.d/10-canal.conflist
