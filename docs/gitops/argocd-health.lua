-- Health of a Portfolio for Argo CD: key resource.customizations.health.palm-operator.dev_Portfolio
-- of the ConfigMap argocd-cm. Healthy speaks of what is served, also while a successor is made.
local health = {status = "Progressing", message = "the operator has not reported on it yet"}
local status = obj.status
local told = status ~= nil and status.conditions ~= nil
local seen = told and status.observedGeneration == obj.metadata.generation
local said = {}
for _, condition in ipairs(told and status.conditions or {}) do
  said[condition.type] = condition
end
-- First: a spec that is refused must be mended, also of what is suspended.
if seen and said.Stalled ~= nil and said.Stalled.status == "True" then
  return {status = "Degraded", message = said.Stalled.message}
end
if obj.spec ~= nil and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is true"}
end
local annotations = obj.metadata.annotations
local paused = annotations ~= nil and annotations["palm-operator.dev/paused"] or "false"
if paused ~= "false" and paused ~= "" then
  return {status = "Suspended", message = "the annotation palm-operator.dev/paused is there"}
end
if not told then
  return health
end
if not seen then
  health.message = "the operator has not seen the last change yet"
  return health
end
if said.Ready ~= nil and said.Ready.status == "True" then
  return {status = "Healthy", message = said.Ready.message}
end
local doing = said.Progressing or said.Ready
if doing ~= nil then
  health.message = doing.message
end
return health
