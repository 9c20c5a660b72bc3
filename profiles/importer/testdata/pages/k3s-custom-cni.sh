k3s server --flannel-backend=none --disable-network-policy
