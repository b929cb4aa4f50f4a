#!/usr/bin/env bash
# Restores over TLS, with each way to verify a server. Run by with-postgres, for a server of its own.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export HOME=$dir

# A CA, a certificate of it for "localhost", and one of a CA that nobody trusts.
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2)
for ca in ca other; do
    openssl req -x509 "${key[@]}" -subj "/CN=$ca" -keyout "$dir/$ca.key" -out "$dir/$ca.crt" 2>/dev/null
done
sign() {
    openssl req "${key[@]}" -subj "/CN=$2" -addext "subjectAltName=DNS:$2" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
        -copy_extensions copyall -out "$dir/$1.crt" 2>/dev/null
}
sign server localhost
sign client "$PGUSER"

sql() { psql -h 127.0.0.1 -XqAt -v ON_ERROR_STOP=1 "$@"; }
data=$(sql -c 'SHOW data_directory')
put() { # FILE NAME: as the server's account
    sql -c "COPY (SELECT pg_catalog.unnest(pg_catalog.string_to_array(\$f\$$(cat "$1")\$f\$, E'\n'))) TO PROGRAM 'umask 077; cat > $data/$2'"
}
put "$dir/server.crt" server.crt
put "$dir/server.key" server.key
put "$dir/ca.crt" root.crt
sql -c 'ALTER SYSTEM SET ssl = on' -c "ALTER SYSTEM SET ssl_ca_file = 'root.crt'" -c 'SELECT pg_reload_conf()' >/dev/null
until [[ $(sql -c 'SHOW ssl') == on ]]; do sleep 0.1; done
sql -c 'CREATE SCHEMA s' -c 'CREATE TABLE s.t AS SELECT 1 AS x'

printf 'secret\n' >"$dir/password"
chmod 600 "$dir/password"
site() {
    cat >"$dir/site.toml" <<-TOML
		site = "s"
		backup_dir = "backup"
		[database]
		host = "$1"
		port = $PGPORT
		user = "$PGUSER"
		password = "$PGPASSWORD"
		dbname = "$PGDATABASE"
		schema = "s"
		[encryption]
		password_file = "password"
	TOML
    chmod 600 "$dir/site.toml"
}
good() { "$ZBACKUP" restore recent --yes --config "$dir/site.toml" >/dev/null || { echo "failed: $*" >&2; exit 1; }; }
bad() {
    if "$ZBACKUP" restore recent --yes --config "$dir/site.toml" >/dev/null 2>"$dir/said"; then echo "succeeded: $*" >&2; exit 1; fi
    grep -q "$1" "$dir/said" || { cat "$dir/said" >&2; exit 1; }
}
site localhost
unset PGHOST
"$ZBACKUP" backup --config "$dir/site.toml" >/dev/null
for mode in disable allow prefer require; do PGSSLMODE=$mode good "$mode"; done
PGSSLMODE=verify-full PGSSLROOTCERT=$dir/ca.crt good verify-full
PGSSLMODE=verify-ca PGSSLROOTCERT=$dir/ca.crt good verify-ca
PGSSLMODE=verify-full PGSSLROOTCERT=$dir/server.crt good "a certificate that is trusted itself"
PGSSLMODE=verify-ca PGSSLROOTCERT=$dir/other.crt bad TLS
PGSSLMODE=require PGSSLROOTCERT=$dir/other.crt bad TLS
PGSSLMODE=verify-full bad "no certificate to verify"
PGSSLMODE=verify-full PGSSLROOTCERT=$dir/nowhere bad "holds no certificates"
site 127.0.0.1
PGSSLMODE=verify-ca PGSSLROOTCERT=$dir/ca.crt good "verify-ca, of another name"
PGSSLMODE=verify-full PGSSLROOTCERT=$dir/ca.crt bad TLS

# Only TLS, only with a certificate of ours.
printf 'hostssl all all 127.0.0.1/32 cert\n' >"$dir/hba"
chmod 644 "$dir/hba"
put "$dir/hba" pg_hba.conf
sql -c 'SELECT pg_reload_conf()' >/dev/null
chmod 600 "$dir/client.key"
until ! PGSSLMODE=disable psql -Xqc 'SELECT 1' -h 127.0.0.1 >/dev/null 2>&1; do sleep 0.1; done
PGSSLMODE=disable bad "refuses the user or the password"
PGSSLCERT=$dir/client.crt PGSSLKEY=$dir/client.key good "a client certificate"
mkdir "$dir/.postgresql"
cp "$dir/client.crt" "$dir/.postgresql/postgresql.crt"
cp "$dir/client.key" "$dir/.postgresql/postgresql.key"
good "a client certificate in the usual place"
echo "all of it is as it should be"
