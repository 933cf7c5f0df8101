module example.invalid/conformance

go 1.19
