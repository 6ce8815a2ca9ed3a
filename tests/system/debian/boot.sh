#!/usr/bin/env bash
# Takes an empty Debian (RELEASE, or that of this machine), booted with its own systemd, through docs/operations.md: `make
# test-debian`, as root, with debootstrap and systemd-container. Packages are brought along, so the guest has no network.
# Everything is in a folder of its own, which is removed at the end; KEEP=1 keeps it.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
# The guest, and in it the home of its administrator, which has the name of this one's.
root=$folder/debian nspawn="" leader=""
admin=$(getent passwd 0 | cut -d: -f6)
home=$root$admin

fail() { echo "boot.sh: $*" >&2; exit 1; }
say() { echo "== $*"; }

clean_up() {
    power_off TERM || true
    find /sys/fs/cgroup/{systemd,unified}/portal-debian -depth -type d -exec rmdir {} + 2> /dev/null || true
    if [ -n "${KEEP-}" ]; then say "kept: $folder"; else rm -rf "$folder"; fi
}

make_debian() {
    local mirror release
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
    release=${RELEASE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
    say "an empty Debian: $release"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus "$release" "$root" "$mirror" > "$folder/debootstrap.log" ||
        fail "debootstrap: $(tail -3 "$folder/debootstrap.log")"
}

# What install.sh would load: Debian's packages into apt's cache, Python's into a folder.
bring_packages() {
    local wheels=$home/wheels python wheel
    say "packages"
    chroot "$root" apt-get update -q > /dev/null
    chroot "$root" apt-get install -qy --download-only --no-install-recommends \
        $(sed -n 's/.*packages=(\(.*\))/\1/p; s/.*packages+=(\(.*\))/\1/p' "$checkout/deploy/install.sh") > /dev/null
    python3 -m venv "$folder/venv"
    # For the guest's Python, which may be older than this machine's: also what only that one needs.
    python=$(chroot "$root" apt-cache show python3 | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p' | head -1)
    wheel=(--python-version "$python" --only-binary :all: -d "$wheels")
    sed 's/ ; python_full_version < [^\\]*/ /' "$checkout/requirements.txt" > "$folder/requirements.txt"
    "$folder/venv/bin/pip" download -qq --no-deps --require-hashes -r "$folder/requirements.txt" "${wheel[@]}"
    "$folder/venv/bin/pip" download -qq "$(grep -o '^aiohttp==[0-9.]*' "$checkout/requirements-dev.txt")" "${wheel[@]}"
}

# Two releases: that of this checkout, and a next one with a migration more.
bring_releases() {
    local one last
    for one in release next; do
        mkdir "$home/$one"
        (cd "$checkout" && git ls-files -z | tar --null -T - -cf -) | tar -x -C "$home/$one"
    done
    last=$(basename "$(ls "$checkout"/usage/migrations/0*.py | tail -1)" .py)
    cat > "$home/next/usage/migrations/9999_next.py" <<PYTHON
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "$last")]
    operations = [migrations.AddField("environmentusage", "next_release", models.TextField(null=True))]
PYTHON
    echo "$last" > "$home/last_migration"
}

# In cgroups of its own where this machine has no systemd that would give it some.
power_on() {
    local own=() group
    say "boot"
    if [ ! -d /run/systemd/system ]; then
        own=(--register=no --keep-unit)
        for group in /sys/fs/cgroup/{systemd,unified}; do
            [ ! -d $group ] || mkdir -p "$group/portal-debian"
        done
    fi
    (
        for group in /sys/fs/cgroup/{systemd,unified}/portal-debian; do
            [ ! -d $group ] || echo $BASHPID > "$group/cgroup.procs"
        done
        exec systemd-nspawn --quiet "${own[@]}" --boot --private-network --machine=portal-debian --directory="$root" \
            --console=pipe < /dev/null > "$folder/console" 2>&1
    ) &
    nspawn=$! leader=""
    for _ in $(seq 300); do
        sleep 1
        leader=$(cat "/proc/$nspawn/task/$nspawn/children" 2> /dev/null | xargs) || true
        if [ -n "$leader" ] && run_in_guest systemctl is-system-running 2> /dev/null | grep -qE 'running|degraded'; then return; fi
    done
    fail "it does not boot: $(tail -5 "$folder/console")"
}

# TERM: it shuts down. KILL: as if the power were cut.
power_off() {
    [ -n "$nspawn" ] || return 0
    if [ "$1" = KILL ]; then kill -KILL "$leader"; else kill -TERM "$nspawn"; fi
    wait "$nspawn" || true
    nspawn=""
}

run_in_guest() {
    nsenter --target "$leader" --all -- env -i HOME="$admin" LANG=C.UTF-8 PIP_NO_INDEX=1 PIP_FIND_LINKS="$admin/wheels" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

run_steps() { run_in_guest bash "$admin/release/tests/system/debian/steps.sh" "$@"; }

[ "$(id -u)" = 0 ] || fail "run it as root."
trap clean_up EXIT
make_debian
bring_packages
bring_releases
power_on
run_steps set_up sign_in try_out restart upgrade downgrade back_up
power_off TERM
power_on
run_steps check
power_off KILL
power_on
run_steps check
say "an empty Debian became a portal, by docs/operations.md"
