kubectl rollout restart ds rke2-canal -n kube-system
