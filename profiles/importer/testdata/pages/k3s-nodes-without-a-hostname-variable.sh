K3S_NODE_NAME=node-1 k3s server
