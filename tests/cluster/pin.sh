#!/usr/bin/env bash
# Pins the Kubernetes that the tests run against: `bash pin.sh 1.37.2` writes it into go.mod and go.sum, which are the
# one place that knows the version. The libraries that Kubernetes publishes beside itself (k8s.io/api and its siblings)
# are required as v0.0.0 by its own module, so each needs a `replace` line to the release of the same number.
set -euo pipefail
cd "$(dirname "$0")"

version="${1:?say which Kubernetes, as 1.37.2}"
library="v0.${version#1.}"
module="$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')"

edits=("-require=k8s.io/kubernetes@v$version")
for sibling in $(sed -n 's/^\t\(k8s\.io\/[a-z-]*\) => .*/\1/p' "$module"); do
  edits+=("-replace=$sibling=$sibling@$library")
done
go mod edit "${edits[@]}"
go mod tidy
