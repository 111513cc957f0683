# shellcheck shell=bash
# The programs: from the machine where they are installed, else built from Go modules into the cache. Sourced by `lab`.

readonly kind_version=v0.33.0 gateway_api_version=v1.4.1
# The same for all, so that what they share is built once. Nobody debugs them.
readonly go_flags=(-trimpath -gcflags=all=-dwarf=0)

# binaries NAME… | all: makes sure that they are there.
binaries() {
    local name names=("$@")
    if [ "$1" = all ]; then
        # Exactly these versions: they go into the node image.
        if [ -e "$bin/complete" ]; then return; fi
        need_go
        say "building Kubernetes $kubernetes, etcd, CoreDNS, kind and helm from Go modules; the first time takes some minutes ..."
        build_tools
        install_kind
        touch "$bin/complete"
        return
    fi
    for name in "${names[@]}"; do
        command -v "$name" >/dev/null && continue
        need_go
        say "building $name ..."
        case $name in
        kind) install_kind ;;
        kubectl) build_tools k8s.io/kubernetes/cmd/kubectl ;;
        helm) build_tools helm.sh/helm/v3/cmd/helm ;;
        esac
    done
}

need_go() {
    command -v go >/dev/null || fail "go is missing: install Go 1.26 from https://go.dev/dl or the package golang"
}

# build_tools [PACKAGE]: one program, or all that go.mod names as tools. CoreDNS and helm are of the versions that share
# Kubernetes' modules, so that most of what they consist of is built once.
build_tools() {
    local at=k8s.io/component-base/version major minor
    IFS=. read -r major minor _ <<<"${kubernetes#v}"
    mkdir -p "$bin"
    (cd "$here" && CGO_ENABLED=0 go build "${go_flags[@]}" -o "$bin/" -ldflags "-s -w -X $at.gitVersion=$kubernetes \
        -X $at.gitMajor=$major -X $at.gitMinor=$minor -X $at.gitTreeState=clean" "${1:-tool}")
    [ ! -e "$bin/server" ] || mv "$bin/server" "$bin/etcd"
}

install_kind() {
    [ -x "$bin/kind" ] ||
        (cd / && CGO_ENABLED=0 GOBIN=$bin go install "${go_flags[@]}" -ldflags "-s -w" sigs.k8s.io/kind@$kind_version)
}

# gateway_api_definitions: where those of the experimental channel are; kept in the cache, from the Go module.
gateway_api_definitions() {
    local dir=$cache/gateway-api-$gateway_api_version-experimental module
    if [ ! -d "$dir" ]; then
        need_go
        module=$(cd / && go mod download -json sigs.k8s.io/gateway-api@$gateway_api_version | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
        mkdir -p "$dir.new"
        cp --no-preserve=mode "$module"/config/crd/experimental/gateway.*.yaml "$dir.new"
        mv "$dir.new" "$dir"
    fi
    echo "$dir"
}
