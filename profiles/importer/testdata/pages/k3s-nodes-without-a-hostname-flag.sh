k3s server --node-name=node-1
