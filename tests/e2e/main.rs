//! The end-to-end tests: stories told with the real binary, real processes and clients that this project did not write.
//!
//! Each test starts its own daemon (`support::daemon`) with its own folder, ports, certificates and programs, so that
//! tests run side by side. Nothing here reaches into the daemon: what a test sees is what any client sees.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by a panic that says why, also in what the tests stand on"
)]

mod approval_levels;
mod approvals;
mod approver_desk;
mod approver_lift;
mod approver_login;
mod audit;
mod audit_export;
mod audit_sinks;
mod audit_witnesses;
mod authorities;
mod backup;
mod backup_crash;
mod backup_disk;
mod backup_held;
mod backup_keys;
mod backup_rollback;
mod binding;
mod break_glass;
mod broker;
mod bundle_endpoints;
mod chaining;
mod change;
mod check;
mod clouds;
mod containers;
mod crash;
mod deferred;
mod delegation;
mod delegators;
mod door;
mod entry_policy;
mod entry_templates;
mod envoy;
mod exchange;
mod explain;
mod fail_closed;
mod failure_modes;
mod federation;
mod federation_commands;
mod firebreak;
mod fleet;
mod full_disk;
mod identity;
mod intents;
mod inventory;
mod irrevocable;
mod kill;
mod kill_lift;
mod kill_scopes;
mod life;
mod migration;
mod minted;
mod mutual_tls;
mod oauth_clients;
mod on_behalf;
mod openapi;
mod openssl;
mod pace;
mod people;
mod plan;
mod playbooks;
mod policy;
mod post_checks;
mod python;
mod readiness;
mod record;
mod refusals;
mod reload;
mod reload_doors;
mod reload_listeners;
mod reload_settings;
mod resource_servers;
mod rotation;
mod scripts;
mod sds;
mod secrets;
mod sharing;
mod shutdown;
mod soak;
mod softhsm;
mod ssf;
mod story;
mod support;
mod svid_files;
mod tampering;
mod telemetry;
mod tenants;
mod token_life;
mod token_request;
mod top;
mod upstream;
mod upstream_spire;
mod upstream_tiers;
mod webhooks;
mod webhooks_fleet;
mod wit;
mod workload_endpoint;
