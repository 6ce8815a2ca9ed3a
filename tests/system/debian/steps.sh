#!/usr/bin/env bash
# What an administrator does by docs/operations.md, inside the Debian that boot.sh boots. Each argument is a step.
set -euo pipefail

HOST=portal.example.com
ONE=(--resolve "$HOST:443:127.0.0.1")
PASSWORD=kolibri-steppe-42-lampe
UNITS=(portal-web@8000 portal-web@8001 portal-worker portal-beat)

fail() { echo "steps.sh: $*" >&2; exit 1; }
say() { echo "== $*"; }
ask() { curl -sS --fail --max-time 20 --cacert "${CA:-/etc/nginx/portal.crt}" "${ONE[@]}" "https://$HOST$1" "${@:2}"; }
ask_api() { ask "/api/v1/$1" -H "Authorization: Bearer $(cat ~/token)"; }
run_as_postgres() { (cd /var/backups/portal && runuser -u postgres -- "$@"); }

# Repeats a command for two minutes, until it succeeds.
wait_for() {
    local end=$((SECONDS + 120))
    until "$@" > /tmp/answer 2>&1; do
        [ $SECONDS -lt $end ] || fail "in vain: $*: $(tail -3 /tmp/answer)"
        sleep 1
    done
}

install_portal() { "$HOME/$1/deploy/install.sh" --host "$HOST"; }

set_up() {
    say "install"
    install_portal release
    DJANGO_SUPERUSER_PASSWORD=$PASSWORD portal-manage createsuperuser --noinput --username anna --email anna@example.com
    portal-manage create_token test 2> /dev/null > ~/token
    ask /health/ready > /dev/null
    ask_api sources/ > /dev/null
    wait_for ask /health/work
}

sign_in() {
    local token
    say "sign in"
    token=$(ask /accounts/login/ -c /tmp/jar | sed -n 's/.*csrfmiddlewaretoken" value="\([^"]*\).*/\1/p' | head -1)
    ask /accounts/login/ -b /tmp/jar -c /tmp/jar -e "https://$HOST/" --data-urlencode "csrfmiddlewaretoken=$token" \
        -d "login=anna" --data-urlencode "password=$PASSWORD" > /dev/null
    grep -q '<title>Overview' <<< "$(ask /admin/ -b /tmp/jar)" || fail "anna is not signed in."
}

# The chapter "Try it with made-up usage".
try_out() {
    local start
    start=$(date -d '-10 days' +%F)
    say "made-up usage"
    echo sandbox > /etc/portal/extras
    printf '%s\n' PORTAL_VENDOR_TRIAL=sandbox-key PORTAL_ALLOWED_VENDOR_HOSTS=127.0.0.1:8900 >> /etc/portal/portal.env
    install_portal release
    systemd-run -q --unit=portal-sandbox portal-manage sandbox --port 8900
    add_trial trial-ona ona /ona/api --backfill-from "$start"
    add_trial trial-gcore gcore /gcore --backfill-from "$start"
    add_trial trial-recipes workato /workato --time-zone Europe/Berlin --backfill-from "$start"
    for kind in environment resource recipe; do wait_for has_records "$kind"; done
    portal-manage verify
}

add_trial() {
    portal-manage add_source "$1" "$2" --credential-env PORTAL_VENDOR_TRIAL --base-url "http://127.0.0.1:8900$3" "${@:4}"
}

has_records() { grep -q '"source"' <<< "$(ask_api "$1-usage/?page_size=1")"; }

restart() {
    local unit pid folder
    say "certificate and logs"
    mkdir -p ~/ca && cd ~/ca
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=Authority 2> /dev/null
    openssl req -newkey rsa:2048 -nodes -keyout portal.key -out portal.csr -subj "/CN=$HOST" 2> /dev/null
    openssl x509 -req -in portal.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out portal.crt \
        -extfile <(echo "subjectAltName=DNS:$HOST") 2> /dev/null
    cp portal.crt portal.key /etc/nginx/
    systemctl reload nginx
    CA=~/ca/ca.crt
    wait_for ask /health/ready
    logrotate -f /etc/logrotate.conf
    wait_for ask /health/ready
    [ -s /var/log/nginx/portal.log ] || fail "nginx does not write its new log."
    say "rights of the units"
    pid=$(systemctl show -p MainPID --value portal-worker)
    grep -q '^CapBnd:.0000000000000000$' "/proc/$pid/status" || fail "the worker has capabilities."
    for folder in /opt/portal /etc /home; do
        ! nsenter -t "$pid" -m -- touch "$folder/x" 2> /dev/null || fail "the worker may write into $folder."
    done
    say "killed and restarted"
    for unit in "${UNITS[@]}"; do kill -KILL "$(systemctl show -p MainPID --value "$unit")"; done
    wait_for ask /health/work
    systemctl restart postgresql redis-server nginx "${UNITS[@]}"
    check
}

upgrade() {
    local load
    say "upgrade, with eight requests a second"
    rm -f /tmp/enough
    : > /tmp/answers
    (while [ ! -e /tmp/enough ]; do
        (ask_api sources/ > /dev/null 2>> /tmp/answers && echo answered >> /tmp/answers) &
        sleep 0.125
    done; wait) &
    load=$!
    install_portal next
    touch /tmp/enough
    wait $load
    echo "$(grep -c answered /tmp/answers) requests answered"
    ! grep -qv answered /tmp/answers || fail "requests were lost: $(grep -v answered /tmp/answers | sort | uniq -c)"
    check
}

downgrade() {
    local newer
    say "downgrade"
    newer=$(readlink -f /opt/portal/current)
    install_portal release
    wait_for worker_says 'worker waits'
    ask /health/ready
    (cd "$newer" && export $(cat /etc/portal/owner.env) &&
        runuser -u portal -- .venv/bin/python manage.py migrate usage "$(cat ~/last_migration)")
    wait_for worker_says 'worker goes on'
    check
}

worker_says() { journalctl -u portal-worker -o cat | grep -E '"worker (waits|goes on)"' | tail -1 | grep -q "$1"; }

# The dump is restored as another database, which has to be what was dumped.
back_up() {
    say "dump and restore"
    mkdir -p /var/backups/portal && chown postgres /var/backups/portal
    run_as_postgres pg_dumpall --globals-only --no-role-passwords --file=roles.sql --dbname=postgresql:///portal
    run_as_postgres pg_dump --format=directory --jobs=2 --file=portal.dump --dbname=postgresql:///portal
    run_as_postgres createdb --owner=portal_owner restored
    run_as_postgres pg_restore --exit-on-error --jobs=2 --dbname=postgresql:///restored portal.dump
    DATABASE_URL=$(sed -n 's#^DATABASE_URL=\(.*\)/portal$#\1/restored#p' /etc/portal/portal.env) portal-manage verify
    say "reporting role"
    ! portal-manage create_reporting_role reader 2> /tmp/said || return 0
    grep -E '^ *(CREATE|ALTER) ROLE' /tmp/said | sed "s/'…'/'made-up'/" | run_as_postgres psql -q -v ON_ERROR_STOP=1
    portal-manage create_reporting_role reader
    PGPASSWORD=made-up psql -h 127.0.0.1 -U reader -d portal -Atc 'SELECT count(*) > 0 FROM reporting.recipe_usage' | grep -qx t
}

check() {
    say "ready, and whole"
    wait_for ask /health/ready
    wait_for ask /health/work
    systemctl is-active -q "${UNITS[@]}" nginx || fail "a service does not run."
    portal-manage verify
    portal-manage roll_up --check
    ~/release/deploy/install.sh --check
}

[ ! -e ~/ca/ca.crt ] || CA=~/ca/ca.crt
for step in "$@"; do $step; done
