#!/usr/bin/env bash
# Takes an empty Debian 12 or newer to a portal that answers over TLS, as root:
#
#   deploy/install.sh --host portal.example.com
#
# Run again from a newer checkout, it brings that release. Files under /etc/portal, nginx, PostgreSQL and Redis that are
# there stay as they are; the units are replaced. With DATABASE_URL or REDIS_URL set, at the first run, that server is
# used, and none is installed.
#
#   --prefix DIR   lay all files under DIR and change nothing else: no packages, users, servers or services
#   --check        install nothing; say whether what is installed is valid, and ready
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
host="" prefix="" check=""
CONTENT=(manage.py portal usage sync templates static docs deploy README.md CHANGELOG.md CONTRIBUTING.md .env.example
    requirements.txt pyproject.toml)
PORTS=(8000 8001)
SERVICES=("${PORTS[@]/#/portal-web@}" portal-worker portal-beat)

fail() { echo "install.sh: $*" >&2; exit 1; }
say() { echo "== $*"; }
make_password() { "$release/.venv/bin/python" -c 'import secrets; print(secrets.token_urlsafe(32))'; }
is_real() { [ -z "$prefix" ]; }

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --host) host=${2-}; shift ;;
            --prefix) prefix=${2-}; shift; [ -n "$prefix" ] || fail "--prefix needs a folder." ;;
            --check) check=yes ;;
            *) fail "$1 is unknown; known are --host HOST, --prefix DIR and --check." ;;
        esac
        shift || fail "an argument lacks its value."
    done
    [[ -z $prefix || $prefix =~ ^/[A-Za-z0-9._/-]+$ ]] || fail "--prefix has to be an absolute path of plain characters."
    [[ -n $check || $host =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]] || fail "--host has to be the host name of the portal."
    [ -n "$prefix" ] || [ "$(id -u)" = 0 ] || fail "run it as root, or with --prefix."
    etc=$prefix/etc current=$prefix/opt/portal/current units=$etc/systemd/system
    site=$etc/nginx/sites-available/portal.conf
}

# A file of deploy/, with the prefix and the host name in place.
render() {
    sed -e "s#/opt/portal#$prefix/opt/portal#g; s#/etc/portal#$prefix/etc/portal#g; s#/etc/nginx#$prefix/etc/nginx#g" \
        -e "s#/var/log/nginx#$prefix/var/log/nginx#g; s#portal\.example\.com#$host#g" "$source/deploy/$1"
}

install_file() { render "$1" | install -D -m "${3:-0644}" /dev/stdin "$2"; }
install_once() { [ -e "$2" ] || install_file "$@"; }

install_packages() {
    local packages=(python3 python3-venv nginx-light openssl curl logrotate)
    if [ ! -e "$etc/portal/portal.env" ]; then
        [ -n "${DATABASE_URL-}" ] || packages+=(postgresql)
        [ -n "${REDIS_URL-}" ] || packages+=(redis-server)
    fi
    say "packages: ${packages[*]}"
    apt-get update -q > /dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}" > /dev/null
    getent passwd portal > /dev/null ||
        useradd --system --user-group --home-dir /var/lib/portal --no-create-home --shell /usr/sbin/nologin portal
}

# Everything in a folder of its own, which nobody changes any more; `current` is switched to it at the end.
install_release() {
    release=$prefix/opt/portal/releases/$(date -u +%Y%m%d-%H%M%S)
    say "release: $release"
    mkdir -p "$release"
    tar -C "$source" --exclude=__pycache__ -cf - "${CONTENT[@]}" | tar -C "$release" --no-same-owner -xf -
    "${PYTHON:-python3}" -m venv "$release/.venv"
    "$release/.venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$release/requirements.txt"
    install_extras
    "$release/.venv/bin/python" -m compileall -q "$release"/{portal,usage,sync}
    # Commands by hand read the variables that the units have.
    ln -s "$etc/portal/portal.env" "$release/.env"
    chmod -R a+rX,a-w "$release"
}

# Optional packages that /etc/portal/extras names, in the versions that the tests have.
install_extras() {
    [ -s "$etc/portal/extras" ] || return 0
    say "extras: $(xargs < "$etc/portal/extras")"
    "$release/.venv/bin/python" - "$source/pyproject.toml" $(xargs < "$etc/portal/extras") > "$release/extras.txt" <<'PYTHON'
import sys, tomllib
known = tomllib.load(open(sys.argv[1], "rb"))["project"]["optional-dependencies"]
for name in sys.argv[2:]:
    if name not in known:
        sys.exit(f"/etc/portal/extras: there is no extra {name}; known are {', '.join(known)}.")
    print(*known[name], sep="\n")
PYTHON
    sed -n 's/^\([A-Za-z0-9._-]*==[^ ;\\]*\).*/\1/p' "$source/requirements-dev.txt" > "$release/versions.txt"
    "$release/.venv/bin/pip" install --quiet --disable-pip-version-check -r "$release/extras.txt" -c "$release/versions.txt"
}

switch_release() {
    ln -sfn "$release" "$current.new"
    mv -T "$current.new" "$current"
}

# The first run's: roles and a database of the server here, as docs/operations.md has them.
set_up_postgres() {
    local password owner_password conf
    password=$(make_password) owner_password=$(make_password)
    for conf in /etc/postgresql/*/main/conf.d; do install_once postgresql/portal.conf "$conf/portal.conf"; done
    systemctl restart postgresql
    runuser -u postgres -- psql -d postgres -qAt -v ON_ERROR_STOP=1 <<SQL
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['portal_app', 'portal_owner']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE portal_app PASSWORD '$password';
ALTER ROLE portal_owner PASSWORD '$owner_password';
GRANT portal_app TO portal_owner;
SELECT 'CREATE DATABASE portal OWNER portal_owner'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'portal') \gexec
SQL
    DATABASE_URL=postgres://portal_app:$password@127.0.0.1:5432/portal
    echo "PORTAL_OWNER_DATABASE_URL=postgres://portal_owner:$owner_password@127.0.0.1:5432/portal" |
        install -D -m 0600 /dev/stdin "$etc/portal/owner.env"
}

set_up_redis() {
    local password
    password=$(make_password)
    install_once redis/portal.conf /etc/redis/portal.conf
    echo "requirepass $password" | install -m 0640 -g redis /dev/stdin /etc/redis/portal-password.conf
    for file in portal portal-password; do
        grep -qx "include /etc/redis/$file.conf" /etc/redis/redis.conf ||
            echo "include /etc/redis/$file.conf" >> /etc/redis/redis.conf
    done
    systemctl restart redis-server
    REDIS_URL=redis://:$password@127.0.0.1:6379/0
}

# .env.example with this portal's values; only root writes it, and only the portal's user reads it.
write_environment() {
    local group=() line keys
    [ ! -e "$etc/portal/portal.env" ] || return 0
    say "settings: $etc/portal/portal.env"
    if is_real; then
        [ -n "${DATABASE_URL-}" ] || set_up_postgres
        [ -n "${REDIS_URL-}" ] || set_up_redis
        group=(-g portal)
    fi
    keys=$(cd "$release" && env -u SECRET_KEY -u PORTAL_ENCRYPTION_KEYS PORTAL_IGNORE_DOTENV=on .venv/bin/python manage.py new_key)
    declare -A values=(
        [DATABASE_URL]=${DATABASE_URL-} [REDIS_URL]=${REDIS_URL-}
        [ALLOWED_HOSTS]=$host [CSRF_TRUSTED_ORIGINS]=https://$host [PORTAL_URL]=https://$host
        [PORTAL_DATA_DIR]=$prefix/var/lib/portal
    )
    while IFS= read -r line; do values[${line%%=*}]=${line#*=}; done <<< "$keys"
    while IFS= read -r line; do
        if [[ $line =~ ^(# )?([A-Z_]+)= && -n ${values[${BASH_REMATCH[2]}]-} ]]; then
            line=${BASH_REMATCH[2]}=${values[${BASH_REMATCH[2]}]}
        fi
        printf '%s\n' "$line"
    done < "$source/.env.example" | install -D -m 0640 "${group[@]}" /dev/stdin "$etc/portal/portal.env"
}

install_units() {
    local unit
    for unit in "$source"/deploy/systemd/*.service; do
        install_file "systemd/${unit##*/}" "$units/${unit##*/}"
    done
    install_once journald/portal.conf "$etc/systemd/journald.conf.d/portal.conf"
    install_file portal-manage "$prefix/usr/local/bin/portal-manage" 0755
}

install_site() {
    local key=$etc/nginx/portal.key
    mkdir -p "$etc/nginx/sites-enabled" "$prefix/var/log/nginx"
    if [ ! -e "$key" ]; then
        say "a certificate that the host signs itself: replace $etc/nginx/portal.crt and portal.key"
        (umask 077 && openssl req -x509 -days 90 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$key" \
            -out "$etc/nginx/portal.crt" -subj "/CN=$host" -addext "subjectAltName=DNS:$host" 2> /dev/null)
    fi
    install_once nginx/portal.conf "$site"
    # nginx would make it readable by everybody; Debian's logrotate goes on with these rights.
    if is_real && [ ! -e /var/log/nginx/portal.log ]; then
        install -m 0640 -o www-data -g adm /dev/null /var/log/nginx/portal.log
    fi
    ln -sfn "$site" "$etc/nginx/sites-enabled/portal.conf"
}

# Without a gap: old web servers go on with the new schema, old workers wait, and one web server answers while the other
# restarts.
start_services() {
    local port
    systemctl daemon-reload
    systemctl restart systemd-journald
    systemctl start portal-migrate || fail "migrate failed: journalctl -u portal-migrate"
    systemctl enable -q "${SERVICES[@]}" nginx
    for port in "${PORTS[@]}"; do
        systemctl restart "portal-web@$port"
        wait_for_port "$port"
    done
    systemctl restart portal-worker portal-beat
    nginx -t -q
    systemctl reload-or-restart nginx
}

migrate_in_prefix() { (cd "$current" && .venv/bin/python manage.py migrate --no-input --verbosity 0); }

test_site() {
    local folder
    folder=$(mktemp -d)
    echo "pid $folder/pid; events {} http { include $site; }" > "$folder/nginx.conf"
    nginx -t -q -e stderr -c "$folder/nginx.conf" || { rm -r "$folder"; return 1; }
    rm -r "$folder"
}

wait_for_port() {
    local answer="" end=$((SECONDS + 120))
    until answer=$(curl -fsS --max-time 5 "http://127.0.0.1:$1/health/ready" 2>&1); do
        [ $SECONDS -lt $end ] || fail "portal-web@$1 is not ready: $answer"
        sleep 1
    done
}

wait_until_ready() {
    local name answer="" end=$((SECONDS + 120))
    name=$(sed -n 's/^ALLOWED_HOSTS=\([^,]*\).*/\1/p' "$etc/portal/portal.env")
    until answer=$(curl -fsSk --max-time 5 --resolve "$name:443:127.0.0.1" "https://$name/health/ready" 2>&1); do
        [ $SECONDS -lt $end ] || fail "https://$name/health/ready: $answer"
        sleep 1
    done
    systemctl is-active -q "${SERVICES[@]}" || fail "a service does not run: systemctl status ${SERVICES[*]}"
}

run_checks() {
    local mode
    mode=$(stat -c %a "$etc/portal/portal.env") || fail "nothing is installed."
    [ "$mode" = 640 ] || fail "$etc/portal/portal.env has the mode $mode, not 640."
    say "units"
    systemd-analyze verify --man=no "$units"/portal-*.service
    say "site"
    test_site
    say "settings"
    if is_real; then portal-manage check --deploy --fail-level WARNING; wait_until_ready
    else (cd "$current" && .venv/bin/python manage.py check --deploy --fail-level WARNING)
    fi
    if is_real; then say "valid, and ready"; else say "valid"; fi
}

parse_arguments "$@"
# root's own folder, where it may have been started, is closed to the users that commands run as.
cd /
if [ -z "$check" ]; then
    if is_real; then install_packages; fi
    install_release
    write_environment
    install_units
    install_site
    switch_release
    if is_real; then start_services
    elif [ -n "${DATABASE_URL-}" ]; then migrate_in_prefix
    fi
fi
run_checks
