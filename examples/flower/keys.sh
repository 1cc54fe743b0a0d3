#!/bin/sh
# Makes what a trial needs, in the folder that is given: an authority, the server's certificate for
# this machine, and a key for each of two sites. Real sites make their keys themselves and send only
# the public one; a real server has a certificate of its own.
set -eu
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
  -keyout ca.key -out ca.pem -subj "/CN=DPEM trial" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
  -keyout server.key -out server.csr -subj "/CN=localhost" 2>/dev/null
printf "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n" > server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
  -extfile server.ext -out server.pem 2>/dev/null
for site in 0 1; do
  ssh-keygen -q -t ecdsa -b 384 -N "" -C "" -f "site-$site"
done
chmod 600 ca.key server.key
