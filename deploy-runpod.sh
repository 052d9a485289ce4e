#!/bin/sh
# Not the way to deploy this worker: it says what is, and fails.
cat >&2 <<'MESSAGE'
This script deploys nothing: a RunPod serverless worker is a container image, not a pod's setup.
GitHub builds the image (.github/workflows/build-runpod-container.yml) and RunPod runs it.

  Guide:   docs/runpod-serverless-guide.md
  Deploy:  higgs-worker deploy --image ghcr.io/YOU/higgs-worker:v0.1.0
  HTTP:    the same with --type load-balancer
MESSAGE
exit 2
