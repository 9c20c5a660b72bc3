ip -d addr show flannel.1
