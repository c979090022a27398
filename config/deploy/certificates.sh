#!/bin/sh
# Certificates for xDS between tidegate.yaml's Tidegate and envoy.yaml's Envoys, by an authority of their own, in the
# directory given. For a try-out; where there is cert-manager, let it make the same Secrets, and renew them.
#
#   config/deploy/certificates.sh pki
#   kubectl create secret generic tidegate-xds -n tidegate --from-file=tls.crt=pki/tidegate.crt --from-file=tls.key=pki/tidegate.key --from-file=ca.crt=pki/ca.crt
#   kubectl create secret generic envoy-xds -n tidegate-proxies --from-file=tls.crt=pki/envoy.crt --from-file=tls.key=pki/envoy.key --from-file=ca.crt=pki/ca.crt
#
# What remains in the directory lets anybody be a proxy: keep ca.key where nobody else is, or delete it.
set -eu
umask 077
directory=${1:?say the directory to write to}
mkdir -p "$directory"
cd "$directory"

key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# NAME SAN PURPOSE
certificate() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n' "$2" "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -sha256 -extfile "$1.ext" -out "$1.crt"
    rm "$1.csr" "$1.ext"
}

key ca
openssl req -x509 -new -key ca.key -subj "/CN=tidegate-xds" -days 3650 -sha256 -out ca.crt
certificate tidegate tidegate.tidegate.svc serverAuth
certificate envoy envoy.tidegate-proxies.svc clientAuth
