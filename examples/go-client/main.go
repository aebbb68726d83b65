// A client in Go, on code generated from api/rune.proto: it starts a service, follows it until it runs,
// lists what there is and removes it again.
//
//	./generate && RUNE_SERVER=localhost:7863 RUNE_TOKEN=… go run .
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/runestack/rune/pkg/api/generated"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const name = "hello-from-go"

// token goes with every call. It is refused over a plain connection to another machine, unless told to.
type token struct {
	text     string
	isSecure bool
}

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + t.text}, nil
}

func (t token) RequireTransportSecurity() bool { return t.isSecure }

func main() {
	log.SetFlags(0)
	if err := run(os.Getenv("RUNE_SERVER"), os.Getenv("RUNE_TOKEN"), os.Getenv("RUNE_CA_FILE")); err != nil {
		log.Fatal(err)
	}
}

func run(server, bearer, authority string) error {
	conn, err := dial(server, bearer, authority)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := generated.NewServiceServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	service := &generated.Service{
		Name:    name,
		Scale:   1,
		Process: &generated.ProcessSpec{Command: "sleep", Args: []string{"300"}},
	}
	if _, err := client.CreateService(ctx, &generated.CreateServiceRequest{Service: service}); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err := follow(ctx, client); err != nil {
		return err
	}
	listed, err := client.ListServices(ctx, &generated.ListServicesRequest{})
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, one := range listed.Services {
		fmt.Printf("%s/%s %s\n", one.Namespace, one.Name, one.Status)
	}
	_, err = client.DeleteService(ctx, &generated.DeleteServiceRequest{Name: name})
	return err
}

func dial(server, bearer, authority string) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if authority != "" {
		secure, err := credentials.NewClientTLSFromFile(authority, "")
		if err != nil {
			return nil, err
		}
		transport = secure
	}
	return grpc.NewClient(server,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(token{bearer, authority != ""}))
}

// follow returns when the service runs.
func follow(ctx context.Context, client generated.ServiceServiceClient) error {
	watch, err := client.WatchServices(ctx, &generated.WatchServicesRequest{})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	for {
		change, err := watch.Recv()
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		service := change.GetService()
		if service.GetName() != name {
			continue
		}
		fmt.Println(change.EventType, service.Status)
		if service.Status == generated.ServiceStatus_SERVICE_STATUS_RUNNING {
			return nil
		}
	}
}
