// How a cluster gets another authority while it runs, in the three steps that everybody who does it takes. API servers
// read the files anew by themselves, within moments.
package main

import (
	"encoding/pem"
	"fmt"
	"os"
)

// rotate takes one step:
//
//	begin    there is a new authority, which signs from now on; both are trusted
//	serve    API servers show a certificate of the new one
//	finish   the old one is trusted no more
func (c *cluster) rotate(step string) error {
	l := c.layout
	switch step {
	case "begin":
		old, err := os.ReadFile(l.pki("ca.crt"))
		if err != nil {
			return err
		}
		if err := newAuthority(l); err != nil {
			return err
		}
		new, err := os.ReadFile(l.pki("ca.crt"))
		if err != nil {
			return err
		}
		if err := replaceFile(l.pki("ca.crt"), append(new, old...), 0o600); err != nil {
			return err
		}
	case "serve":
		ca, err := loadAuthority(l)
		if err != nil {
			return err
		}
		return serverCertificate(ca, l)
	case "finish":
		first, err := readPEM(l.pki("ca.crt"))
		if err != nil {
			return err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: first})
		if err := replaceFile(l.pki("ca.crt"), text, 0o600); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%q is no step: say begin, serve or finish", step)
	}
	return c.renewAdmin()
}

// renewAdmin gives the admin a certificate of the present authority, and kubeconfigs that trust what is trusted now.
func (c *cluster) renewAdmin() error {
	ca, err := loadAuthority(c.layout)
	if err != nil {
		return err
	}
	if err := clientCertificate(ca, c.layout.pki("admin"), "tidegate-admin", []string{adminGroup}, longTime); err != nil {
		return err
	}
	for name := range c.parts {
		if isAPIServer(name) {
			err := writeKubeconfig(c.layout, c.ports.url(name), c.layout.pki("admin"), c.layout.kubeconfig(name))
			if err != nil {
				return err
			}
		}
	}
	return nil
}
