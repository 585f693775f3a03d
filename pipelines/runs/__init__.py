"""What a run is: stages, freshness, manifests, and the runner that alone knows locks and renames."""
