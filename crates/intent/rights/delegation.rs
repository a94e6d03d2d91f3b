//! Handing rights on to another agent: one hop less is left, and nothing divisible passes unchanged unless the playbook
//! says that it may (M 20, M 22).

use super::{ConstraintValue, Dimension, OnBehalf, Rights, Wanted, Widening};

impl Rights {
    /// What is wanted of these rights for another agent.
    ///
    /// In each of the [dimensions that are sets](Dimension::NARROWED_BY_DELEGATION) and that has more than one element the
    /// child has less than its parent, unless [`OnBehalf::equal`] names it; and where nothing at all is less, all of them
    /// are named.
    ///
    /// # Errors
    /// These rights may not be handed on (again), more is wanted than there is, or too much of it is passed on unchanged.
    pub fn delegated(&self, wanted: &Wanted) -> Result<Self, Widening> {
        let Some(behalf) = self.on_behalf.as_ref().filter(|behalf| behalf.max_depth > 0) else {
            return Err(Widening::exceeds(Dimension::Depth));
        };
        let onward = Self { on_behalf: behalf.after_a_hop(), ..self.clone() };
        let child = onward.narrowed(wanted)?;
        self.passes_on_less(&child, behalf)?;
        self.covers(&child)?;
        Ok(child)
    }

    /// Whether `child`, which came about otherwise, is something that these rights may be handed on as.
    ///
    /// # Errors
    /// As [`Self::delegated`].
    pub fn hands_on(&self, child: &Self) -> Result<(), Widening> {
        let Some(behalf) = self.on_behalf.as_ref().filter(|behalf| behalf.max_depth > 0) else {
            return Err(Widening::exceeds(Dimension::Depth));
        };
        let onward = Self { on_behalf: behalf.after_a_hop(), ..self.clone() };
        onward.covers(child)?;
        self.passes_on_less(child, behalf)
    }

    fn passes_on_less(&self, child: &Self, behalf: &OnBehalf) -> Result<(), Widening> {
        let unchanged = |dimension: &Dimension| self.is_equal_in(child, *dimension);
        let named = |dimension: &Dimension| behalf.equal.contains(dimension);
        let all = Dimension::NARROWED_BY_DELEGATION.iter();
        if let Some(dimension) = all.clone().find(|dimension| {
            self.is_divisible_in(**dimension) && unchanged(dimension) && !named(dimension)
        }) {
            return Err(Widening::incomparable(*dimension));
        }
        let something_is_less = all.clone().any(|dimension| !unchanged(dimension))
            || self.tools != child.tools
            || self.limits != child.limits
            || self.purpose != child.purpose;
        let mut held = all.filter(|dimension| !self.is_empty_in(**dimension));
        match held.find(|dimension| !named(dimension)) {
            Some(dimension) if !something_is_less => Err(Widening::incomparable(*dimension)),
            Some(_) | None => Ok(()),
        }
    }

    fn is_equal_in(&self, child: &Self, dimension: Dimension) -> bool {
        match dimension {
            Dimension::Audiences => self.audiences == child.audiences,
            Dimension::Scopes => self.scopes == child.scopes,
            Dimension::AuthorizationDetails => {
                let (ours, theirs) = (&self.authorization_details, &child.authorization_details);
                ours.iter().all(|entry| theirs.contains(entry))
            }
            Dimension::Resources => self.resources == child.resources,
            // A tool that may be called in fewer ways is not left out.
            Dimension::Tools => self.tools.keys().eq(child.tools.keys()),
            Dimension::Constraints => self.constraints == child.constraints,
            Dimension::DataClasses => self.data_classes == child.data_classes,
            // Not sets: they have an order of their own and may stay as they are.
            _ => false,
        }
    }

    fn is_empty_in(&self, dimension: Dimension) -> bool {
        self.size_in(dimension) == 0
    }

    /// Whether something can be left out and something still be left.
    fn is_divisible_in(&self, dimension: Dimension) -> bool {
        self.size_in(dimension) > 1
    }

    /// How many things the dimension holds that could be left out one by one.
    fn size_in(&self, dimension: Dimension) -> usize {
        match dimension {
            Dimension::Audiences => self.audiences.len(),
            Dimension::Scopes => self.scopes.len(),
            Dimension::AuthorizationDetails => self
                .authorization_details
                .iter()
                .map(|entry| {
                    [&entry.locations, &entry.actions, &entry.datatypes, &entry.privileges]
                        .into_iter()
                        .map(|values| values.len())
                        .fold(1, usize::max)
                })
                .sum(),
            Dimension::Resources => self.resources.len(),
            Dimension::Tools => self.tools.len(),
            Dimension::Constraints => self
                .constraints
                .iter()
                .map(|(_, value)| match value {
                    ConstraintValue::Among(values) => values.len(),
                    _ => 1,
                })
                .fold(0, usize::max),
            Dimension::DataClasses => self.data_classes.len(),
            _ => 0,
        }
    }
}
