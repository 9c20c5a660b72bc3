k3s server --disable-network-policy
