# shellcheck shell=bash
# A Docker daemon of the lab's own, in a network namespace from which nothing gets out. Sourced by `lab`.

readonly namespace=weft-lab
socket=unix://$state/docker.sock

inside_daemon() {
    # Not "ip netns exec", which hides /sys/fs/cgroup.
    DOCKER_HOST=$socket nsenter --net=/run/netns/$namespace "$@"
}

# docker_build ARGS…: only failures have something to say, older Docker complains about itself at every build.
docker_build() {
    local said
    said=$(inside_daemon docker build -q "$@" 2>&1) || fail "docker build: $said"
}

daemon_works() { [ -e /run/netns/$namespace ] && inside_daemon timeout 10 docker info >/dev/null 2>&1; }

# Starts the daemon unless it runs; what an earlier one left when it crashed is removed first.
daemon_up() {
    if daemon_works; then return; fi
    [ -d /sys/fs/cgroup/memory ] || fail "the lab's node image needs cgroup v1, which this machine does not have: use a Docker daemon that reaches a registry"
    daemon_clear
    say "starting a Docker daemon in network namespace $namespace ..."
    mkdir -p "$state"
    ip netns add $namespace
    # A default route, to nowhere: programs want one before they ask which address is theirs.
    inside_daemon sh -ec 'ip link set lo up
        ip link add uplink type veth peer name nowhere
        ip link set nowhere up
        ip address add 10.199.0.2/24 dev uplink
        ip link set uplink up
        ip route add default via 10.199.0.1'
    local runtime=()
    has_sys_resource || runtime=(--add-runtime lab="$here/runc" --default-runtime lab)
    inside_daemon setsid dockerd --host "$socket" --data-root "$cache/docker" --exec-root "$state/exec" \
        --pidfile "$state/dockerd.pid" --oom-score-adjust 0 --cgroup-parent /weft-lab "${runtime[@]}" \
        </dev/null >"$state/dockerd.log" 2>&1 {lock}>&- &
    local _
    for _ in $(seq 120); do
        if daemon_works; then
            # Containers of a crashed run start again with the daemon, half of them.
            inside_daemon kind delete clusters --all -q 2>/dev/null || true
            return
        fi
        sleep 0.5
    done
    tail -n 5 "$state/dockerd.log" >&2
    fail "the Docker daemon did not start; its log is $state/dockerd.log"
}

daemon_down() {
    if daemon_works; then inside_daemon kind delete clusters --all -q 2>/dev/null || true; fi
    daemon_clear
}

# Leaves no process, mount, cgroup or namespace, whatever state they are in.
daemon_clear() {
    end_process "$state/dockerd.pid" TERM
    end_process "$state/dockerd.pid" KILL
    end_process "$state/exec/containerd/containerd.pid" KILL
    local pid
    for pid in $(pgrep -f "^[^ ]*containerd-shim.* $state/" || true); do kill -KILL "$pid" 2>/dev/null || true; done
    for pid in $(lab_cgroups -name cgroup.procs -exec cat {} + | sort -u); do kill -KILL "$pid" 2>/dev/null || true; done
    awk -v a="$state/" -v b="$cache/docker" 'index($5, a) == 1 || index($5, b) == 1 { print $5 }' /proc/self/mountinfo |
        sort -r | xargs -r -n1 umount -l
    lab_cgroups -depth -type d -exec rmdir {} + || true
    if [ -e /run/netns/$namespace ]; then ip netns delete $namespace; fi
    rm -rf "$state/exec" "$state/dockerd.pid" "$state/docker.sock"
}

# end_process PIDFILE SIGNAL: and waits some seconds for its end.
end_process() {
    local pid _
    pid=$(cat "$1" 2>/dev/null) || return 0
    kill "-$2" "$pid" 2>/dev/null || return 0
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.2
    done
}

lab_cgroups() { find /sys/fs/cgroup/*/weft-lab "$@" 2>/dev/null; }

# Whether this root has CAP_SYS_RESOURCE, bit 24, which privileged containers ask for.
has_sys_resource() {
    local effective
    effective=$(awk '/^CapEff/ { print $2 }' /proc/self/status)
    (((0x$effective >> 24) & 1))
}
