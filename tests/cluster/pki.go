// Certificates, keys and kubeconfigs. The authority is made once and kept, so that what a client trusts outlives a restart,
// until it is told to give way to another (rotate.go).
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
	// Members of this group may do everything: RBAC is not asked.
	adminGroup = "system:masters"
	longTime   = 10 * 365 * 24 * time.Hour
)

// authority signs the cluster's certificates.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// ensurePKI makes whatever is missing in the directory: the authority, the server's certificate, the key that signs
// service account tokens, and the admin's certificate.
func ensurePKI(l layout) error {
	if exists(l.pki("done")) {
		return nil
	}
	if err := newAuthority(l); err != nil {
		return err
	}
	ca, err := loadAuthority(l)
	if err != nil {
		return err
	}
	if err := serverCertificate(ca, l); err != nil {
		return err
	}

	tokens, err := newKey(l.pki("sa.key"))
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(tokens.Public())
	if err != nil {
		return err
	}
	if err := writePEM(l.pki("sa.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	if err := clientCertificate(ca, l.pki("admin"), "tidegate-admin", []string{adminGroup}, longTime); err != nil {
		return err
	}
	return replaceFile(l.pki("done"), nil, 0o644)
}

// newAuthority makes an authority; its predecessor, if there is one, is forgotten.
func newAuthority(l layout) error {
	key, err := newKey(l.pki("ca.key"))
	if err != nil {
		return err
	}
	template := newTemplate("tidegate-test-ca", longTime)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return sign(template, &authority{template, key}, key.Public(), l.pki("ca.crt"))
}

// serverCertificate gives all API servers the certificate that they show.
func serverCertificate(ca *authority, l layout) error {
	server := newTemplate("kube-apiserver", longTime)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.ParseIP(serviceAddress)}
	key, err := newKey(l.pki("server.key"))
	if err != nil {
		return err
	}
	return sign(server, ca, key.Public(), l.pki("server.crt"))
}

// loadAuthority loads the authority that signs now: of several that are trusted, the first.
func loadAuthority(l layout) (*authority, error) {
	certificate, err := readPEM(l.pki("ca.crt"))
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	private, err := readPEM(l.pki("ca.key"))
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(private)
	if err != nil {
		return nil, err
	}
	return &authority{parsed, key}, nil
}

// clientCertificate writes BASE.crt and BASE.key for a user in groups.
func clientCertificate(ca *authority, base, user string, groups []string, lifetime time.Duration) error {
	template := newTemplate(user, lifetime)
	template.Subject.Organization = groups
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	key, err := newKey(base + ".key")
	if err != nil {
		return err
	}
	return sign(template, ca, key.Public(), base+".crt")
}

func newTemplate(name string, lifetime time.Duration) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name},
		// The machine's clock may be set back between runs on the same directory.
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(lifetime),
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
}

func sign(template *x509.Certificate, ca *authority, public crypto.PublicKey, path string) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	certificate, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, public, ca.key)
	if err != nil {
		return err
	}
	return writePEM(path, "CERTIFICATE", certificate)
}

func newKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", text)
}

func writePEM(path, kind string, bytes []byte) error {
	return replaceFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writeKubeconfig puts the certificates into the file itself: it can be copied anywhere.
func writeKubeconfig(l layout, server, certificateBase, path string) error {
	ca, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil {
		return err
	}
	certificate, err := os.ReadFile(certificateBase + ".crt")
	if err != nil {
		return err
	}
	key, err := os.ReadFile(certificateBase + ".key")
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["tidegate"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos["tidegate"] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
	config.Contexts["tidegate"] = &clientcmdapi.Context{Cluster: "tidegate", AuthInfo: "tidegate", Namespace: "default"}
	config.CurrentContext = "tidegate"
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return replaceFile(path, text, 0o600)
}

// words is a flag that may be given several times.
type words []string

func (w *words) Set(text string) error { *w = append(*w, text); return nil }
func (w *words) String() string        { return fmt.Sprint(*w) }

// writeUserKubeconfig is the command `kubeconfig`. A short lifetime is how tests see a certificate end.
func writeUserKubeconfig(arguments []string) error {
	flags := flag.NewFlagSet("kubeconfig", flag.ContinueOnError)
	dir := flags.String("dir", "", "the cluster's directory")
	user := flags.String("user", "", "the user's name")
	server := flags.String("server", partAPIServer, "which API server")
	lifetime := flags.Duration("lifetime", longTime, "how long the certificate holds")
	to := flags.String("to", "", "the file to write")
	var groups words
	flags.Var(&groups, "group", "a group of the user; may be repeated")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if *user == "" || *to == "" {
		return fmt.Errorf("--user and --to are needed")
	}
	l, err := openLayout(*dir)
	if err != nil {
		return err
	}
	known, err := l.loadPorts()
	if err != nil {
		return err
	}
	if known[*server] == 0 {
		return fmt.Errorf("%s has no API server named %q", l.dir, *server)
	}
	ca, err := loadAuthority(l)
	if err != nil {
		return err
	}
	base := *to + ".pki"
	if err := clientCertificate(ca, base, *user, groups, *lifetime); err != nil {
		return err
	}
	defer os.Remove(base + ".crt")
	defer os.Remove(base + ".key")
	return writeKubeconfig(l, known.url(*server), base, *to)
}
