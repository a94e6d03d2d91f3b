//! The names of the schema, parsed once: parsing them for each decision would take longer than deciding.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors};

macro_rules! names {
    ($($name:ident $text:literal;)+) => {
        /// The entity types of the schema.
        #[derive(Debug)]
        pub(super) struct Names {
            $($name: EntityTypeName,)+
        }

        impl Names {
            pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
                Ok(Self { $($name: concat!("Marque::", $text).parse().map_err(Box::new)?,)+ })
            }

            $(
                pub(super) fn $name(&self, id: &str) -> EntityUid {
                    EntityUid::from_type_name_and_id(self.$name.clone(), EntityId::new(id))
                }
            )+
        }
    };
}

names! {
    action "Action";
    agent "Agent";
    family "AgentFamily";
    grant "Grant";
    group "Group";
    human "Human";
    playbook "Playbook";
    tenant "Tenant";
    thing "Thing";
    tool "Tool";
}
