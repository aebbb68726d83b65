"""Talks to `runed`: one client over three transports (gRPC, HTTP, in-process), typed by the operation table.

Import from the module that has it: `rune.client.client.Client`, `rune.client.grpc.GrpcTransport`,
`rune.client.http.HttpTransport`, `rune.client.local.LocalTransport`.
"""
