# shellcheck shell=bash
# The node image: Debian with containerd, the kubelet, and the images of the control plane inside. Sourced by `lab`.

readonly node_image=weft-lab/node:$kubernetes

node_image() {
    # The label tells a node image of other files from this one.
    local context files
    files=$(cat "$here"/node/* | sha256sum | cut -c1-16)
    [ "$(inside_daemon docker image inspect -f '{{index .Config.Labels "files"}}' "$node_image" 2>/dev/null)" != "$files" ] || return 0
    say "building the node image ..."
    context=$(mktemp -d)
    node_base
    node_context "$context"
    control_plane_images "$context/images.tar"
    docker_build --label "files=$files" -t "$node_image" "$context"
    rm -rf "$context"
}

# Debian's packages in a directory.
node_root() {
    local root=$cache/$kubernetes/root
    [ ! -e "$root/complete" ] || return 0
    say "fetching the node's Debian packages ..."
    rm -rf "$root"
    debootstrap --variant=minbase \
        --include=containerd,runc,containernetworking-plugins,iptables,nftables,iproute2,socat \
        bookworm "$root" >"$cache/debootstrap.log" || fail "debootstrap failed: see $cache/debootstrap.log"
    touch "$root/complete"
}

# The same as image weft-lab/base.
node_base() {
    tar -C "$cache/$kubernetes/root" --exclude=./{dev,proc,sys,var/cache/apt,var/lib/apt/lists}/'*' -c . |
        inside_daemon docker import - weft-lab/base >/dev/null
}

# node_context DIR: the files that node/Dockerfile copies.
node_context() {
    mkdir -p "$1/bin"
    cp "$here"/node/{Dockerfile,containerd.toml,entrypoint} "$1"
    cp "$bin"/{kubelet,kubectl,kubeadm} "$1/bin"
    # Debian's CNI programs, where everybody else has them.
    mkdir -p "$1/opt/cni"
    ln -s /usr/lib/cni "$1/opt/cni/bin"
    echo $kubernetes >"$1/version"
}

# control_plane_images FILE: what kubeadm asks for by name. All of the control plane is one layer, and its programs are
# names of one image.
control_plane_images() {
    local files root=$cache/$kubernetes/root file name names target
    files=$(mktemp -d)
    mkdir -p "$files/usr/local/bin" "$files/tmp"
    chmod 755 "$files"   # as whom a program runs is its own business
    cp "$bin"/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,coredns} "$files/usr/local/bin"
    gcc -static -Os -s -o "$files/usr/local/bin/pause" "$here/node/pause.c"
    # kube-proxy runs nft.
    for file in /usr/sbin/nft $(chroot "$root" ldd /usr/sbin/nft | grep -o '/lib[^ ]*'); do
        install -D "$root$(chroot "$root" readlink -f "$file")" "$files$file"
    done
    tar -C "$files" -c . |
        inside_daemon docker import -c "ENV PATH=/usr/local/bin:/usr/sbin" - weft-lab/control >/dev/null
    rm -rf "$files"
    for target in coredns pause; do
        docker_build -t weft-lab/$target - <<<"FROM weft-lab/control
ENTRYPOINT [\"$target\"]"
    done
    mapfile -t names < <(kubeadm config images list --kubernetes-version $kubernetes)
    for name in "${names[@]}"; do
        case $name in
        */coredns:*) target=coredns ;;
        */pause:*) target=pause ;;
        *) target=control ;;
        esac
        inside_daemon docker tag weft-lab/$target "$name"
    done
    inside_daemon docker save -o "$1" "${names[@]}"
}
